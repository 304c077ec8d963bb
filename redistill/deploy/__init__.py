"""Exports: networks as the files of deployment runtimes, run there before they are written."""
