/* SPDX-License-Identifier: GPL-3.0-or-later */
/* renew - keeps a credential fresh while requests run: fetches the next one before the old one
 * expires, and at once, again and again, while the service refuses it.
 *
 *     due, or refused ── fetch ── another one? ── renew, the client goes on
 *                          └── failed, or the same: later, 1 s and doubling up to a minute
 */
#pragma once

#include "uploader/client.h"
#include "uploader/token.h"

struct upl_renewer;
struct upl_renewer_options {
        struct upl_client *client;         /* borrowed, as the credential is */
        struct upl_credential *credential; /* gets what is fetched, whatever its kind */
        /* Gets the credential anew; may block for some seconds. Returns 0 or a negative errno with
         * one sentence. */
        int (*fetch)(void *userdata, struct upl_token *ret_token, struct bth_error *error);
        void *userdata;
        uint64_t first_usec; /* when the first one is due, by the real-time clock; 0: now */
};

/* Returns 0, -ENOMEM, -errno of pthread_create(3). */
int upl_renewer_new(const struct upl_renewer_options *options, struct upl_renewer **ret_renewer)
        _must_check_;
struct upl_renewer *upl_renewer_free(struct upl_renewer *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_renewer_free, struct upl_renewer *);

/* The last fetch's error; code 0: it went well. Any thread. */
void upl_renewer_error(struct upl_renewer *r, struct bth_error *ret_error);

/* Ready-made fetches. `userdata` is the file's path. Returns as upl_token_from_file(). */
int upl_renew_from_file(void *userdata, struct upl_token *ret_token, struct bth_error *error)
        _must_check_;
/* `userdata` is a struct upl_renew_identity. Returns as upl_token_from_identity(). */
struct upl_renew_identity {
        const char *base, *client_id; /* of upl_token_from_identity() */
};
int upl_renew_from_identity(void *userdata, struct upl_token *ret_token, struct bth_error *error)
        _must_check_;
