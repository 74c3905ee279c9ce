"""Run by the host at its start, with an interface. Nothing that goes wrong here may stop the host."""

try:
    from fsgan_nuke import menus

    menus.install_menu()
except Exception as _error:
    import traceback

    traceback.print_exc()
    print("FSGAN: the menu could not be made: %s" % _error)
