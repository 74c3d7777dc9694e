"""Services that a team's own Compose file describes, made by the Compose tool and then led like all others."""
