"""The entry of `coze-service` and of `python -m service`: loads the command, and runs it."""

import gc

# Modules make no garbage worth a search while they load. To look for it all the same, and again through everything
# that is loaded when the process ends, costs a quarter of a start and a stop.
gc.disable()
from service.command import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
