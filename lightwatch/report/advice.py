"""What to do about each cause for which a frame, a file or a group has no result."""

from __future__ import annotations

_WHY = "'lightwatch why' with its name tells what was tried"
_FILE = "Look at the file, or copy it again."
_PARSER = "Mend the header parser, or the header."

_ADVICE = {
    # files
    "not_fits": _FILE,
    "truncated": f"The copy stopped early. {_FILE}",
    "missing_file": "It was there when the run began: is the disk mounted?",
    "not_regular": "A pipe, device or link where a frame should be: move it away.",
    "not_an_image": "No image in it: name the HDU with importation.hdu_data, or exclude it by files_match_pattern.",
    "too_large": "Raise discovery.max_frame_gigabytes if frames of this camera are so large.",
    "bad_shape": "No two-dimensional image: name its HDU with importation.hdu_data.",
    "bad_size": "The image is too small or empty: is it a frame of the sky?",
    "changed": "Still being written: the next run takes it.",
    "bad_pixels": f"The values of its pixels make no sense. {_FILE}",
    "bad_header": _PARSER,
    "bad_meta": _PARSER,
    "header": _PARSER,
    "bad_date": f"The date is out of range. {_PARSER}",
    "bad_site": "Check latitude, longitude and elevation of the telescope.",
    "bad_exptime": f"The exposure time is no positive number. {_PARSER}",
    "bad_gain": f"The gain is no positive number. {_PARSER}",
    "bad_pixel_map_shape": "The bad-pixel map has another shape than the frame: name the right HDU or file.",
    "deferred": "Still being written: the next run takes it.",
    "storage": "The disk failed or is full: look at the log.",
    "timeout": "It took longer than executor.frame_timeout_seconds allows.",
    "worker_died": "Its worker ended, mostly for want of memory: fewer executor.jobs, or look at the log.",
    "missing_product": "'lightwatch verify --repair' lets the next run make it anew.",
    "damaged_product": "'lightwatch verify --repair' lets the next run make it anew.",
    # sky
    "detection_failed": "No background or no sources could be found: clouds, a flat or a dark frame.",
    "too_few_sources": "Clouds, or too short an exposure; check gain and saturation if all frames fail.",
    "no_match": "Its stars match no catalogue: check pixel scale and pointing, clouds, or give an own WCS.",
    "no_wcs": f"No trustworthy WCS; {_WHY}.",
    "bad_wcs": "Its own WCS cannot be read: set plate_solving.already_plate_solved to false.",
    "wcs_contradicted": "Its own WCS does not agree with the stars: set plate_solving.already_plate_solved to false.",
    "rms_too_large": "Matched, but with too large residuals: distortion (max_sip_order), trails, or crowding.",
    "scale_out_of_range": "Solved with another pixel scale than said: check plate_solving.pixel_scale_arcsec.",
    "anisotropic": "Solved with pixels that are not square: mostly a wrong match.",
    "outside_wcs": "The position lies outside of where the WCS is known.",
    "bad_position": "No position to look at: check the coordinates of the ROI.",
    "solve_field_failed": "The external solver gave up: its index files may not cover the field of view.",
    "no_outline": "Its outline on the sky is not known; solve its plate first.",
    "footprint_too_wide": "Frames lie far apart on the sky: is another field among them?",
    "bad_region": "The region of the stars cannot be formed: check reference_stars.",
    # stars
    "no_reference_stars": "No reference star lies on it: pointing, or too narrow a region of stars.",
    "no_stars": "No star passes the cuts: widen the magnitude limits or the region of reference_stars.",
    "no_common_stars": "Shares no star with the other frames: pointing, or use another strategy of reference_stars.",
    "no_stars_in_common": "Shares no star with the other frames: pointing, or use another strategy of reference_stars.",
    "too_few_psf_stars": "Too few clean stars: where the reason names no setting, the frame is too poor for a PSF.",
    "psf_failed": "The PSF could not be fitted: trails, defocus, or clouds. Look at the frame.",
    "no_range_of_levels": "Too little light to measure on: clouds or a short exposure.",
    "no_good_pixels": "All pixels are masked there: saturation, cosmic rays, or the edge of the detector.",
    "network": "The catalogue was not reached: the next run tries again.",
    "network_off": "The catalogue needs the network: set network.offline to false, or give a table of stars.",
    "too_many_rows": "Too many stars for one question: a smaller region, or brighter limits.",
    "bad_table": "The table of stars cannot be read: see the line it names.",
    "no_gauge_star": "No star was seen on enough frames to tie them together; more nights may bring one.",
    # joint tasks
    "unknown_band": "zeropoints.band is a band that no catalogue star has: see its list of bands.",
    "bad_shapes": "An error of lightwatch: report it with the log.",
    "too_few_frames": "More frames are needed; the next nights bring them.",
    "no_zeropoint": "No star has a magnitude in this band: check zeropoints.band and the catalogue.",
    "no_epochs": "No frame of this filter got so far.",
    "no_usable_epochs": "No frame of this filter is good enough for the model.",
    "bug": "An error of lightwatch: report it with the log.",
    "bad_definition": "The pinned region cannot be read: 'lightwatch verify' tells more.",
    "unknown_method": "plate_solving names a method that is not known.",
}  # fmt: skip


def advice_for(reason_code: str | None) -> str:
    """What to do, in a sentence; of a code ``general:special`` the general part counts."""
    general = (reason_code or "").partition(":")[0]
    return _ADVICE.get(general, f"See the log; {_WHY}.")


def known_codes() -> frozenset[str]:
    """Reason codes with an advice of their own."""
    return frozenset(_ADVICE)
