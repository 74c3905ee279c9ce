"""Eyes and mouth: whose eyeballs and teeth are seen, and lids and lips that close."""
