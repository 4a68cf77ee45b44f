"""The pages for viewer and host, served from files beside this package."""
