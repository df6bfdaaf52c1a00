"""Turn-taking analysis of calls: speech segments, events, metrics and reports."""
