"""What the plugin docks into napari's window. A widget holds a controller, it never is one."""
