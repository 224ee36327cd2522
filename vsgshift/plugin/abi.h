/* What the plugin file (gshift.c) and the extension module (_bridge.pyx) agree on. */
#ifndef GSHIFT_ABI_H
#define GSHIFT_ABI_H

#include <stdint.h>

#include "VapourSynth4.h"

#define GSHIFT_MODULE "vsgshift.plugin._bridge"
#define GSHIFT_CAPSULE_ATTRIBUTE "_c_api"
#define GSHIFT_CAPSULE GSHIFT_MODULE "." GSHIFT_CAPSULE_ATTRIBUTE

/* Raise it whenever GShiftABI or the meaning of one of its members changes. */
#define GSHIFT_ABI_VERSION 1

typedef struct GShiftABI {
    uint32_t version;
    /* Runs the plugin function `name`, without the GIL. `name` is only read during the call: it
     * lies in the plugin file, which is unloaded together with its core. */
    void (*call)(const char *name, const VSMap *in, VSMap *out, VSCore *core, const VSAPI *vsapi);
} GShiftABI;

#endif
