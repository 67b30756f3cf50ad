"""The service: runs, records and the page of any URL over HTTP, a dashboard. Extra `service`."""
