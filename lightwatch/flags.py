"""Every quality bit, once: the same bits from the pixel to the light-curve point."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """0 is good. The bits 1, 2, 4 and 8 have the meaning common among pipelines."""

    BAD = 1  # dead, hot, NaN or masked by the instrument
    COSMIC_RAY = 2
    SATURATED = 4
    NEIGHBOUR_OF_BAD = 8  # next to a pixel that is bad, struck or saturated
    OUTSIDE = 16  # beyond the edge of the detector
    CONTAMINATED = 32  # light of another source, fitted or masked
    LOW_COVERAGE = 64  # too few good pixels where the light is
    NOT_CONVERGED = 128  # a fit stopped before its steps became small
    POOR_FIT = 256  # reduced chi2 outside of its range
    LARGE_SHIFT = 512  # position far from where it was expected
    LOW_SNR = 1024  # too faint to be of use
    VARIABLE = 2048  # a reference star that varies
    OUTLIER = 4096  # disowned by an ensemble of stars or frames
    TOO_FEW_STARS = 8192  # below the minimum number of stars
    PSF_UNCERTAIN = 16384  # reserved stars disagree with the PSF
    EXTENDED = 32768  # not a point source
    EXTRAPOLATED = 65536  # outside the range where the relation was measured
    UNUSUAL_CONDITIONS = 131072  # Sun above horizon, airmass beyond 3, or alike
    UNLINKED = 262144  # shares no star with the other frames, or no frame with the other stars

    @property
    def names(self) -> list[str]:
        """Lower-case names of the bits that are set."""
        return [bit.name.lower() for bit in Flag if bit in self and bit.name]


#: bits of a pixel that keep it out of every fit
UNUSABLE_PIXEL = Flag.BAD | Flag.COSMIC_RAY | Flag.SATURATED | Flag.NEIGHBOUR_OF_BAD | Flag.OUTSIDE

#: bits of a point of a light curve that keep it apart and out of every mean; a faint point is not doubtful
DOUBTFUL = (
    Flag.BAD | Flag.SATURATED | Flag.OUTSIDE | Flag.LOW_COVERAGE | Flag.NOT_CONVERGED | Flag.POOR_FIT
    | Flag.LARGE_SHIFT | Flag.OUTLIER | Flag.TOO_FEW_STARS | Flag.UNLINKED
)  # fmt: skip
