"""Parts of `conformance/once`: the site, raw readers that count what they were handed, and the kinds of round."""
