"""Run by Nuke at startup, with a GUI. An error here must not stop Nuke."""

try:
    from fsgan_nuke import menus

    menus.install_menu()
except Exception as _error:
    import traceback

    traceback.print_exc()
    print("FSGAN: the menu could not be made: %s" % _error)
