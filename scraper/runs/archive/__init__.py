"""Pages as they were fetched, kept in WARC files (ISO 28500) beside a run's records, and found again.

One gzip member a record, written by a single call: a process that is killed leaves at most one torn member,
at the end of a file that only it wrote; it is cut off at the next open.

Not kept: requests (they hold cookies and passwords; of one that is no GET its method and URL are kept),
Set-Cookie, and pages whose site says noarchive. Bodies are kept decoded, so the fields that tell of codings
and lengths stand under names of ours, and are given their own back when a page is read. A page that did not
change leaves a revisit record, so that the files of one run are a whole picture for other tools.
"""
