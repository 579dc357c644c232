"""Header parser: omegacam_vst."""


def parse_header(header):
    raise NotImplementedError
