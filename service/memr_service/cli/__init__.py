"""The command line `memr`: `commands` is the list of them, the other files hold one noun each."""
