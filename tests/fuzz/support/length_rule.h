/* SPDX-License-Identifier: BSD-2-Clause */
/* Lengths of instructions of the legacy encodings, by a rule of its own (APM vol. 3, appendix A). */
#ifndef TESTS_FUZZ_LENGTH_RULE_H
#define TESTS_FUZZ_LENGTH_RULE_H

#include <stdint.h>

/* length_rule - bytes of the instruction at bytes[0 .. n); mode: size of an offset, 2, 4 or 8. 0: it is not
 * all there, or of an encoding that the rule does not know (VEX, EVEX, XOP, 3DNow!). */
unsigned length_rule(const uint8_t *bytes, unsigned n, unsigned mode);

#endif
