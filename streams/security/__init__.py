"""How servers know this process, and how it knows them: certificates and tokens that are renewed while it runs, and
what a server's refusal means."""
