"""evald: the daemon that judges GPU kernels. No logic lives here: another distribution may own this file."""
