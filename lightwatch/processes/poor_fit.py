"""When a fit deserves the flag POOR_FIT: reduced chi2 out of these ranges. Imports nothing: messages tell them too."""

from __future__ import annotations

#: stars that make the PSF of a frame; below the range only where the model is taken for exact
PSF_CHI2 = (0.8, 1.3)
#: flux of one star on one frame
STAR_CHI2 = (0.0, 3.0)
#: cutout of an ROI on one frame, in the model of all of them; a smaller one may come of an error granted to the PSF
EPOCH_CHI2 = (0.6, 1.6)
