"""A counter of a process' tensors: a library to preload, compiled on first use by the C compiler that is here.

A runtime allocates its tensors and workspaces aligned (posix_memalign and its kin), its bookkeeping by malloc, so that
counting the former alone gives what a pass holds of data, to the byte. Allocators that a runtime lets others put in are
no way to the figure: onnxruntime 1.32 crashes on those.
"""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

from ..common.cache import cache_dir
from ..common.files import replaced_file
from .c_compiler import find_compiler

SOURCE = r"""
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

void *__libc_memalign(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

enum { SLOTS = 1 << 16 };  /* of an open hash table: address -> bytes */
static struct { void *at; long long bytes; } live[SLOTS];
static long long now, peak, at_peak[SLOTS];
static int at_peak_count, on;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void) { while (atomic_flag_test_and_set(&busy)) {} }
static void unlock(void) { atomic_flag_clear(&busy); }
static size_t slot(void *p) { return ((size_t)p >> 4) * 2654435761u % SLOTS; }

static void born(void *p, size_t bytes) {
  if (!on || !p) return;
  lock();
  size_t i = slot(p);
  while (live[i].at) i = (i + 1) % SLOTS;
  live[i].at = p;
  live[i].bytes = bytes;
  now += bytes;
  if (now > peak) {
    peak = now;
    at_peak_count = 0;
    for (size_t j = 0; j < SLOTS; j++) if (live[j].at) at_peak[at_peak_count++] = live[j].bytes;
  }
  unlock();
}

static void gone(void *p) {
  if (!on || !p) return;
  lock();
  size_t i = slot(p);
  while (live[i].at && live[i].at != p) i = (i + 1) % SLOTS;
  if (live[i].at) {
    now -= live[i].bytes;
    live[i].at = NULL;
    for (size_t j = (i + 1) % SLOTS; live[j].at; j = (j + 1) % SLOTS) {  /* close the hole behind it */
      size_t home = slot(live[j].at);
      if (i <= j ? home <= i || home > j : home <= i && home > j) {
        live[i] = live[j];
        live[j].at = NULL;
        i = j;
      }
    }
  }
  unlock();
}

void heap_start(void) {
  lock();
  memset(live, 0, sizeof live);
  now = peak = at_peak_count = 0;
  on = 1;
  unlock();
}
long long heap_stop(void) { on = 0; return peak; }
int heap_at_peak(long long *out, int most) {
  int count = at_peak_count < most ? at_peak_count : most;
  memcpy(out, at_peak, count * sizeof *out);
  return count;
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
  void *p = __libc_memalign(alignment, bytes);
  if (!p) return ENOMEM;
  born(*out = p, bytes);
  return 0;
}
void *aligned_alloc(size_t a, size_t b) { void *p = __libc_memalign(a, b); born(p, b); return p; }
void *memalign(size_t a, size_t b) { void *p = __libc_memalign(a, b); born(p, b); return p; }
void *realloc(void *p, size_t bytes) { gone(p); return __libc_realloc(p, bytes); }
void free(void *p) { gone(p); __libc_free(p); }
"""


def heap_counter() -> Path | None:
    """The library to name in LD_PRELOAD; None where there is no C compiler, or no glibc, to build it."""
    file = cache_dir() / "tools" / f"heap-{sha256(SOURCE.encode()).hexdigest()[:12]}.so"
    compiler = find_compiler()
    if file.exists() or compiler is None:
        return file if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replaced_file(file) as part:
            command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(part)]
            subprocess.run(command, input=SOURCE, text=True, capture_output=True, check=True)
    except subprocess.CalledProcessError:
        return None
    return file
