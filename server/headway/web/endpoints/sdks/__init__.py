"""Jobs in the shapes that the SDKs of Azure and Google poll."""
