"""Before and after, for the eye: a picture, a page with a slider, or a short film.

`pairs` reads and restores; `region` finds where the two differ most tellingly; `sheet`, `page` and
`movie` show it. Frames are arrays (H, W, 3) of 8 bit RGB throughout.
"""
