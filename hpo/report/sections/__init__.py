"""The report's sections, in reading order; each builds its part of the document from evidence and findings."""
