/* SPDX-License-Identifier: BSD-2-Clause */
/* The JSON of the management channel: one flat object a line, read in place; and its printer. No system
 * calls, host-testable (tests/host/control/test_json.c).
 *
 * Reading takes strings, unsigned integers below 2^64, true and false; no nesting, no fractions, no null. It
 * needs no memory but the line: strings are unescaped where they stand. Printing into too small a buffer
 * stops there and says so; it never writes behind its end. */
#ifndef SERVERS_CONTROL_JSON_H
#define SERVERS_CONTROL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_FIELDS_MAX 8u

enum json_kind { JSON_STRING, JSON_NUMBER, JSON_BOOL };
struct json_field {
    const char *key, *text; /* end with 0; text: of JSON_STRING */
    uint32_t bytes;         /* of text */
    enum json_kind kind;
    uint64_t number; /* JSON_NUMBER, or 0 and 1 of JSON_BOOL */
};
struct json_object {
    struct json_field field[JSON_FIELDS_MAX];
    uint32_t fields;
};

/* json_read - the object in line[0 .. bytes); line[bytes] is written, too. Returns NULL, or what is wrong. */
const char *json_read(char *line, size_t bytes, struct json_object *o);
/* The field of this name and kind, or NULL. */
const struct json_field *json_find(const struct json_object *o, const char *key, enum json_kind kind);

struct json_out {
    char *to;
    size_t room, used;
    bool comma, full;
};
/* Where a key is asked for: NULL inside an array. open: '{' or '['. */
void json_open(struct json_out *j, const char *key, char open);
void json_close(struct json_out *j, char close);
void json_text(struct json_out *j, const char *key, const char *text);
void json_number(struct json_out *j, const char *key, uint64_t value);
void json_bool(struct json_out *j, const char *key, bool value);
/* The end of a line. */
void json_end(struct json_out *j);

#endif
