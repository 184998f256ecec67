"""Commands for those who submit and follow jobs: they speak to a server over HTTP, through `headway.client`."""
