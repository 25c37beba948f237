/* SPDX-License-Identifier: GPL-3.0-or-later */
/* token - who may come in over the network: bearer tokens, each with a right and a name.
 *
 *     # right    name      SHA-256 of the token, in hex
 *     read       portal    9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08
 *     station    station-1 60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752
 *
 * Only hashes are kept, so the file gives nobody a token; it still must belong to root or to the
 * station's user and be closed to others, since a line in it is a right. Tokens are random and
 * long: a hash without salt is enough for them, and a word that people choose is not one.
 * Any thread; one list belongs to one thread. Source: RFC 6750. */
#pragma once

#include "base/error.h"
#include "base/secret.h"
#include "daemon/verb.h"

#define DMN_TOKENS_MAX       1024u
#define DMN_TOKEN_NAME_MAX   64u  /* bytes: letters, digits, '.', '_', '-', '@' */
#define DMN_TOKEN_BYTES_MAX  512u /* of a token that somebody sends */
#define DMN_TOKEN_TEXT_BYTES 43u  /* of one that is made here: 256 bits in base64url */

struct dmn_token {
        enum dmn_right right; /* READ, OPERATE, ADMIN or STATION */
        char name[DMN_TOKEN_NAME_MAX + 1];
};

struct dmn_tokens;

/* Returns 0; -EBADMSG with the line; -E2BIG beyond DMN_TOKENS_MAX; -ENOMEM. `object` names the file
 * in errors. */
int dmn_tokens_parse(const char *text, size_t n, const char *object, struct dmn_tokens **ret_tokens,
                     struct bth_error *error) _must_check_;
/* Returns as dmn_tokens_parse(); -EPERM for a file that is not regular, belongs to others or is
 * open to them; -errno of open(2) and read(2). */
int dmn_tokens_load(const char *path, struct dmn_tokens **ret_tokens, struct bth_error *error)
        _must_check_;
struct dmn_tokens *dmn_tokens_free(struct dmn_tokens *t); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(dmn_tokens_free, struct dmn_tokens *);

/* Whose token is it? Takes the same time whatever it is. NULL: nobody's. Borrowed. */
const struct dmn_token *dmn_tokens_find(const struct dmn_tokens *t, const char *token);
/* The token in a header "Authorization: Bearer TOKEN"; NULL when there is none. Borrowed. */
const char *dmn_token_of_header(const char *authorization);

/* A new one, and its line for the file (without line end, malloc()ed). Returns 0; -EINVAL for a
 * name or right that no line can have; -ENOMEM; -errno of getrandom(2). */
int dmn_token_make(enum dmn_right right, const char *name, struct bth_secret **ret_token,
                   char **ret_line) _must_check_;
/* Makes one and adds its line to the file, which is made where there is none. `what`: "RIGHT:NAME".
 * The file becomes that of `user` and `group`, who are to load it, when root makes it or had it.
 * Returns 0; -EINVAL; -EEXIST when the file has the name; the errors of dmn_tokens_load(); -errno
 * of fchown(2) and write(2). */
int dmn_tokens_add(const char *path, const char *what, uid_t user, gid_t group,
                   struct bth_secret **ret_token, struct bth_error *error) _must_check_;
