/* SPDX-License-Identifier: BSD-2-Clause */
/* See json.h (RFC 8259). */
#include "json.h"
#include <string.h>

struct reader {
    char *at, *end;
    const char *wrong;
};

static bool fail(struct reader *r, const char *why)
{
    if (!r->wrong)
        r->wrong = why;
    return false;
}

static void blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX as UTF-8; never longer than what it replaces. */
static bool unicode(struct reader *r, char **to)
{
    unsigned v = 0;

    if (r->end - r->at < 4)
        return fail(r, "an escape without its digits");
    for (unsigned i = 0; i < 4; i++) {
        int d = hex_digit(*r->at++);
        if (d < 0)
            return fail(r, "an escape without its digits");
        v = v << 4 | (unsigned)d;
    }
    if (v == 0 || (v >= 0xd800 && v < 0xe000))
        return fail(r, "a character that is not taken");
    if (v < 0x80) {
        *(*to)++ = (char)v;
    } else if (v < 0x800) {
        *(*to)++ = (char)(0xc0 | v >> 6);
        *(*to)++ = (char)(0x80 | (v & 0x3f));
    } else {
        *(*to)++ = (char)(0xe0 | v >> 12);
        *(*to)++ = (char)(0x80 | (v >> 6 & 0x3f));
        *(*to)++ = (char)(0x80 | (v & 0x3f));
    }
    return true;
}

static bool escape(struct reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";

    if (r->at == r->end)
        return fail(r, "a string without end");
    char c = *r->at++;
    if (c == 'u')
        return unicode(r, to);
    const char *place = c ? strchr(from, c) : NULL;
    if (!place)
        return fail(r, "an unknown escape");
    *(*to)++ = means[place - from];
    return true;
}

static bool string(struct reader *r, const char **text, uint32_t *bytes)
{
    if (!take(r, '"'))
        return fail(r, "a string is expected");
    char *to = r->at, *begin = to;
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < ' ')
            return fail(r, "a control character in a string");
        if (*r->at != '\\')
            *to++ = *r->at++;
        else if (r->at++, !escape(r, &to))
            return false;
    }
    if (r->at == r->end)
        return fail(r, "a string without end");
    r->at++;
    *to = 0; /* over the quote at the latest */
    *text = begin;
    *bytes = (uint32_t)(to - begin);
    return true;
}

static bool number(struct reader *r, uint64_t *value)
{
    const char *begin = r->at;

    *value = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        unsigned digit = (unsigned)(*r->at - '0');
        if (*value > (UINT64_MAX - digit) / 10)
            return fail(r, "a number that is too large");
        *value = *value * 10 + digit;
    }
    if (r->at - begin > 1 && *begin == '0')
        return fail(r, "a number that begins with 0");
    if (r->at < r->end && (*r->at == '.' || *r->at == 'e' || *r->at == 'E'))
        return fail(r, "a number that is no integer");
    return true;
}

static bool word(struct reader *r, const char *text)
{
    size_t n = strlen(text);

    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

static bool value(struct reader *r, struct json_field *f)
{
    blanks(r);
    if (r->at < r->end && *r->at == '"') {
        f->kind = JSON_STRING;
        return string(r, &f->text, &f->bytes);
    }
    if (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        f->kind = JSON_NUMBER;
        return number(r, &f->number);
    }
    f->kind = JSON_BOOL;
    f->number = word(r, "true");
    return f->number || word(r, "false") ||
           fail(r, "a value that is neither string, unsigned integer, true nor false");
}

static bool field(struct reader *r, struct json_object *o)
{
    struct json_field *f = &o->field[o->fields];
    uint32_t bytes;

    if (o->fields == JSON_FIELDS_MAX)
        return fail(r, "too many fields");
    *f = (struct json_field){ .key = "" };
    if (!string(r, &f->key, &bytes))
        return false;
    for (uint32_t i = 0; i < o->fields; i++)
        if (strcmp(o->field[i].key, f->key) == 0)
            return fail(r, "a field that is there twice");
    if (!take(r, ':'))
        return fail(r, "a colon is expected");
    if (!value(r, f))
        return false;
    o->fields++;
    return true;
}

static bool object(struct reader *r, struct json_object *o)
{
    if (!take(r, '{'))
        return fail(r, "an object is expected");
    if (take(r, '}'))
        return true;
    do
        if (!field(r, o))
            return false;
    while (take(r, ','));
    return take(r, '}') || fail(r, "a comma or the object's end is expected");
}

const char *json_read(char *line, size_t bytes, struct json_object *o)
{
    struct reader r = { line, line + bytes, NULL };

    o->fields = 0;
    line[bytes] = 0;
    if (object(&r, o)) {
        blanks(&r);
        if (r.at != r.end)
            fail(&r, "something behind the object");
    }
    if (r.wrong)
        o->fields = 0;
    return r.wrong;
}

const struct json_field *json_find(const struct json_object *o, const char *key, enum json_kind kind)
{
    for (uint32_t i = 0; i < o->fields; i++)
        if (o->field[i].kind == kind && strcmp(o->field[i].key, key) == 0)
            return &o->field[i];
    return NULL;
}

/* --- printing --- */

static void put(struct json_out *j, char c)
{
    if (j->used == j->room)
        j->full = true;
    else
        j->to[j->used++] = c;
}

static void put_word(struct json_out *j, const char *text)
{
    while (*text)
        put(j, *text++);
}

static void put_string(struct json_out *j, const char *text)
{
    static const char digits[] = "0123456789abcdef";

    put(j, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(j, '\\');
            put(j, *text);
        } else if (c < ' ' || c >= 0x7f) { /* who sent it need not have sent UTF-8 */
            put_word(j, "\\u00");
            put(j, digits[c >> 4]);
            put(j, digits[c & 15]);
        } else {
            put(j, *text);
        }
    }
    put(j, '"');
}

static void begin(struct json_out *j, const char *key)
{
    if (j->comma)
        put(j, ',');
    j->comma = true;
    if (key) {
        put_string(j, key);
        put(j, ':');
    }
}

void json_open(struct json_out *j, const char *key, char open)
{
    begin(j, key);
    put(j, open);
    j->comma = false;
}

void json_close(struct json_out *j, char close)
{
    put(j, close);
    j->comma = true;
}

void json_text(struct json_out *j, const char *key, const char *text)
{
    begin(j, key);
    put_string(j, text);
}

void json_number(struct json_out *j, const char *key, uint64_t value)
{
    char text[21];
    unsigned at = sizeof(text) - 1;

    text[at] = 0;
    do
        text[--at] = (char)('0' + value % 10);
    while (value /= 10);
    begin(j, key);
    put_word(j, text + at);
}

void json_bool(struct json_out *j, const char *key, bool value)
{
    begin(j, key);
    put_word(j, value ? "true" : "false");
}

void json_end(struct json_out *j)
{
    put(j, '\n');
    j->comma = false;
}
