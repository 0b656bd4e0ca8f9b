/* SPDX-License-Identifier: BSD-2-Clause */
/* One request line to one answer line (docs/management.md). Calls init; knows nothing of the line it came by.
 */
#ifndef SERVERS_CONTROL_COMMAND_H
#define SERVERS_CONTROL_COMMAND_H

#include <stddef.h>

#define LINE_MAX   1024u  /* of a request without its newline (chosen: a piece of an image fits) */
#define ANSWER_MAX 40960u /* chosen: room for a list of 48 guests, however their VMMs call themselves */

/* command_answer - the answer to line[0 .. bytes), newline included, in to[0 .. ANSWER_MAX). line[bytes] and
 * what lies before are written over. too_long: the line was cut. Returns its length. */
size_t command_answer(char *line, size_t bytes, bool too_long, char *to);

#endif
