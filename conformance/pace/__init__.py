"""Parts of `conformance/bench`: the site that is measured, its peers, the ways of measuring, the rows."""
