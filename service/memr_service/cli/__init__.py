"""The command line `memr`. `commands` collects the commands; the other files hold one command or one noun each."""
