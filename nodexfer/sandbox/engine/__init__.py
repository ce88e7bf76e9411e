"""Tasks in motion: who runs when, and how the bytes get across. Speaks to collections through Storage only."""
