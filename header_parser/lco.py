"""Header parser: lco."""


def parse_header(header):
    raise NotImplementedError
