/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of record/: numbers and words of guest memory in both directions. */
#ifndef VMM_RECORD_INTERNAL_H
#define VMM_RECORD_INTERNAL_H

#include "servers/vmm/record/record.h"

/* What was read cannot be. The first reason stays. */
void record_bad(struct record_codec *c, const char *why);
/* Each returns the value: the given one when writing. */
uint8_t record_byte(struct record_codec *c, uint8_t value);
uint64_t record_number(struct record_codec *c, uint64_t value, uint64_t expected);
void record_data(struct record_codec *c, gpa_t gpa, uint8_t *data, uint32_t bytes);

/* What guest memory was last, as far as it is remembered; what it is now. At most 8 bytes, naturally aligned
 * or within one aligned word. */
uint64_t record_expect(const struct record_codec *c, gpa_t gpa, uint32_t bytes);
void record_learn(struct record_codec *c, gpa_t gpa, uint32_t bytes, uint64_t value);

/* Where in c->value this one is remembered. */
static inline uint8_t record_value_slot(uint64_t value)
{
    return (uint8_t)(value * 0x9e3779b97f4a7c15ull >> 56);
}

#endif
