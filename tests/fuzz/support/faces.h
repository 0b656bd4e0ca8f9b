/* SPDX-License-Identifier: BSD-2-Clause */
/* Between tests/fuzz/idl_dispatch.c and what idl_faces.py writes for each interface: callers with values that
 * the input chooses, and implementations that check what they are given. The names without prefix are
 * tests/idl/idl_harness.py's. */
#ifndef TESTS_FUZZ_FACES_H
#define TESTS_FUZZ_FACES_H

#include "check.h"
#include "lib/idl/transport.h"

#include <stdlib.h>
#include <string.h>

#define EXPECT CHECK

enum face_mode { ROUND, RAW };
#define NOISE RAW

extern enum face_mode mode;
extern unsigned impl_calls, accepted;
extern uint64_t face_digest; /* of what implementations were given */

uint64_t rnd(void);
uint64_t below(uint64_t n);
uint64_t value(void);
void face_given(const void *bytes, size_t n);

struct face {
    const char *name;
    void (*dispatch)(struct umbra_message *m, void *self);
    const uint32_t *labels;
    void (*const *calls)(void);
    unsigned procedures;
};
extern const struct face faces[];
extern const unsigned faces_count;

#endif
