"""Entry of the Space and of `python app.py`: serves the page of app/ui.py."""

import gc

if __name__ == "__main__":
    gc.disable()  # what is loaded and built stays, and looking for garbage in it took a second; `main` enables it

from app.ui import main

if __name__ == "__main__":
    raise SystemExit(main())
