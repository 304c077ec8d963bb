"""The kernels of an integer program in C99, of which a file holds those that its network uses.

Maps are uint8, stored height, width, channels; a number q stands for scale · (q - zero). All compute in integers: sums
in 32 bits, factors between scales as multiplier / 2^shift in 64. Right shifts of negative numbers go towards minus
infinity, as with every compiler for the processors this is for. Nothing is allocated. `table`, `affine`, `sum` and
`product` may write over a map that they read as a whole. What goes element by element can also read a part of a map: of
several rows, whose first number is `first` and which lie `pitch` apart.
"""

PRELUDE = r"""
/* Rounded, around the zero point of a map, to the numbers that it holds. */
static uint8_t stored(int64_t scaled, int shift, int zero) {
  int64_t value = ((scaled + ((int64_t)1 << (shift - 1))) >> shift) + zero;
  return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}
"""

CONVOLUTION = r"""
typedef struct {
  int in_height, in_width, in_channels, out_height, out_width, out_channels;
  int kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left, groups;
  int in_zero, out_zero;
  const int8_t *weights; /* out_channels, kernel_height, kernel_width, in_channels / groups */
  const int32_t *bias, *multiplier;
  const uint8_t *shift;
} convolution_t;

static void convolution(const convolution_t *c, const uint8_t *in, uint8_t *out) {
  const int taken = c->in_channels / c->groups, given = c->out_channels / c->groups, zero = c->in_zero;
  for (int y = 0; y < c->out_height; y++)
    for (int x = 0; x < c->out_width; x++) {
      const int8_t *weight = c->weights;
      for (int channel = 0; channel < c->out_channels; channel++) {
        const uint8_t *first = in + channel / given * taken;
        int32_t sum = c->bias[channel];
        for (int i = 0; i < c->kernel_height; i++)
          for (int j = 0; j < c->kernel_width; j++, weight += taken) {
            const int row = y * c->stride_y - c->pad_top + i * c->dilation_y;
            const int column = x * c->stride_x - c->pad_left + j * c->dilation_x;
            if (row < 0 || row >= c->in_height || column < 0 || column >= c->in_width) continue;
            const uint8_t *pixel = first + (row * c->in_width + column) * c->in_channels;
            for (int k = 0; k < taken; k++) sum += weight[k] * (pixel[k] - zero);
          }
        *out++ = stored((int64_t)sum * c->multiplier[channel], c->shift[channel], c->out_zero);
      }
    }
}
"""

TABLE = r"""
typedef struct {
  int count, more_rows, first, pitch;
  const uint8_t *table; /* 256 */
} table_t;

static void table(const table_t *t, const uint8_t *in, uint8_t *out) {
  in += t->first;
  for (int y = 0; y <= t->more_rows; y++, in += t->pitch)
    for (int i = 0; i < t->count; i++) *out++ = t->table[in[i]];
}
"""

AFFINE = r"""
typedef struct {
  int pixels, channels, in_zero, shift, more_rows, first, pitch;
  const int32_t *multiplier;
  const int64_t *term;
} affine_t;

static void affine(const affine_t *a, const uint8_t *in, uint8_t *out) {
  for (int y = 0; y <= a->more_rows; y++) {
    const uint8_t *number = in + a->first + y * a->pitch;
    for (int i = 0; i < a->pixels; i++)
      for (int k = 0; k < a->channels; k++)
        *out++ = stored((int64_t)(*number++ - a->in_zero) * a->multiplier[k] + a->term[k], a->shift, 0);
  }
}
"""

SUM = r"""
typedef struct {
  int count, right_count; /* the right one is as large, or has a number a channel */
  int left_zero, right_zero, out_zero, shift, more_rows, left_first, left_pitch, right_first, right_pitch;
  int32_t left_multiplier, right_multiplier;
} sum_t;

static void sum(const sum_t *s, const uint8_t *left, const uint8_t *right, uint8_t *out) {
  left += s->left_first, right += s->right_first;
  for (int y = 0; y <= s->more_rows; y++, left += s->left_pitch, right += s->right_pitch)
    for (int i = 0, j = 0; i < s->count; i++, j = j + 1 == s->right_count ? 0 : j + 1) {
      const int64_t scaled = (int64_t)(left[i] - s->left_zero) * s->left_multiplier;
      *out++ = stored(scaled + (int64_t)(right[j] - s->right_zero) * s->right_multiplier, s->shift, s->out_zero);
    }
}
"""

PRODUCT = r"""
typedef struct {
  int count, right_count; /* the right one is as large, or has a number a channel */
  int left_zero, right_zero, out_zero, shift, more_rows, left_first, left_pitch, right_first, right_pitch;
  int32_t multiplier;
} product_t;

static void product(const product_t *p, const uint8_t *left, const uint8_t *right, uint8_t *out) {
  left += p->left_first, right += p->right_first;
  for (int y = 0; y <= p->more_rows; y++, left += p->left_pitch, right += p->right_pitch)
    for (int i = 0, j = 0; i < p->count; i++, j = j + 1 == p->right_count ? 0 : j + 1) {
      const int32_t found = (left[i] - p->left_zero) * (right[j] - p->right_zero);
      *out++ = stored((int64_t)found * p->multiplier, p->shift, p->out_zero);
    }
}
"""

MAX_POOL = r"""
typedef struct {
  int in_height, in_width, in_channels, out_height, out_width;
  int kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left;
} max_pool_t;

static void max_pool(const max_pool_t *p, const uint8_t *in, uint8_t *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int k = 0; k < p->in_channels; k++) {
        uint8_t most = 0;
        for (int i = 0; i < p->kernel_height; i++)
          for (int j = 0; j < p->kernel_width; j++) {
            const int row = y * p->stride_y - p->pad_top + i * p->dilation_y;
            const int column = x * p->stride_x - p->pad_left + j * p->dilation_x;
            if (row < 0 || row >= p->in_height || column < 0 || column >= p->in_width) continue;
            const uint8_t value = in[(row * p->in_width + column) * p->in_channels + k];
            if (value > most) most = value;
          }
        *out++ = most;
      }
}
"""

AVERAGE_POOL = r"""
typedef struct {
  int in_height, in_width, in_channels, out_height, out_width;
  int kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left;
  int in_zero, out_zero, shift;
  int32_t multiplier;
} average_pool_t;

static void average_pool(const average_pool_t *p, const uint8_t *in, uint8_t *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int k = 0; k < p->in_channels; k++) {
        int32_t total = 0;
        for (int i = 0; i < p->kernel_height; i++)
          for (int j = 0; j < p->kernel_width; j++) {
            const int row = y * p->stride_y - p->pad_top + i, column = x * p->stride_x - p->pad_left + j;
            if (row < 0 || row >= p->in_height || column < 0 || column >= p->in_width) continue;
            total += in[(row * p->in_width + column) * p->in_channels + k] - p->in_zero;
          }
        *out++ = stored((int64_t)total * p->multiplier, p->shift, p->out_zero);
      }
}
"""

PLACE = r"""
typedef struct {
  int pixels, channels, start, out_channels, more_rows, first, pitch;
  const uint8_t *table; /* 256: from the numbers of a part to those of the whole */
} place_t;

static void place(const place_t *p, const uint8_t *in, uint8_t *out) {
  out += p->start;
  for (int y = 0; y <= p->more_rows; y++) {
    const uint8_t *number = in + p->first + y * p->pitch;
    for (int i = 0; i < p->pixels; i++, out += p->out_channels)
      for (int k = 0; k < p->channels; k++) out[k] = p->table[*number++];
  }
}
"""

PASTE = r"""
typedef struct {
  int rows, row_bytes, start, pitch; /* of the place where it goes: where that begins, how far apart its rows lie */
} paste_t;

static void paste(const paste_t *p, const uint8_t *in, uint8_t *out) {
  for (int y = 0; y < p->rows; y++)
    for (int i = 0; i < p->row_bytes; i++) out[p->start + y * p->pitch + i] = *in++;
}
"""

KERNELS = {
    "table": TABLE,
    "convolution": CONVOLUTION,
    "affine": AFFINE,
    "sum": SUM,
    "product": PRODUCT,
    "max_pool": MAX_POOL,
    "average_pool": AVERAGE_POOL,
    "place": PLACE,
    "paste": PASTE,
}
# Those that round; the others move numbers as they are.
ROUNDING = ("convolution", "affine", "sum", "product", "average_pool")
# Those that may write over a map that they read, element by element.
IN_PLACE = ("table", "affine", "sum", "product")
