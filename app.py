"""Entry of the Space and of `python app.py`: serves the page of app/ui.py."""

from app.ui import main

if __name__ == "__main__":
    raise SystemExit(main())
