"""How good a restored clip is: metrics, protocols, data sets, baselines and the report of it all."""
