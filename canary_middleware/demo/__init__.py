"""``canary demo``: two small shops under real servers, some thousand visitors, one kill."""
