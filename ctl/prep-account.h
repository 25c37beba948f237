/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-account - the storage account as a verb of berth-prep reaches it: options, client, and what
 * is there. A credential comes from a file that others cannot read; one that the account refuses
 * ends the verb. The functions block; any thread. */
#pragma once

#include "ctl/cli.h"
#include "uploader/blob.h"
#include "uploader/client.h"

struct ctl_account_options {
        const char *url, *key_file, *sas_file, *token_file, *ca_file;
};
#define CTL_ACCOUNT_OPTIONS(a)                                                                \
        { "account-url", "URL", "https://ACCOUNT.blob.core.windows.net, or where it is else", \
          .text = &(a)->url },                                                                \
                { "key-file", "FILE", "file with the account's key (mode 0600)",              \
                  .text = &(a)->key_file },                                                   \
                { "sas-file", "FILE", "file with a shared access signature (mode 0600)",      \
                  .text = &(a)->sas_file },                                                   \
                { "token-file", "FILE", "file with an access token (mode 0600)",              \
                  .text = &(a)->token_file },                                                 \
        {                                                                                     \
                "ca-file", "FILE", "certificates to trust instead of the system's (PEM)",     \
                        .text = &(a)->ca_file                                                 \
        }

struct ctl_account {
        struct upl_client *client;
        struct upl_credential *credential;
};

/* Opens nothing yet on the network. Plain http is for this machine only.
 * Returns 0; -EINVAL with BTH_REASON_USAGE for options that do not fit; the errors of
 * bth_secret_new_from_file(), upl_credential_new() and upl_client_new(). */
int ctl_account_open(const struct ctl_account_options *options, struct ctl_account **ret_account,
                     struct bth_error *error) _must_check_;
struct ctl_account *ctl_account_close(struct ctl_account *a); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ctl_account_close, struct ctl_account *);

/* Called for each; a negative errno ends the listing and is returned, 1 ends it with success. */
typedef int (*ctl_container_fn)(void *userdata, const char *container);
typedef int (*ctl_blob_fn)(void *userdata, const char *container, const struct upl_blob_item *blob);

/* Lists what begins with `prefix` (NULL: everything), page by page.
 * Return 0; -ENOENT when there is no such container; what the function gave; the errors of
 * upl_client_call() and the answers' readers. */
int ctl_account_containers(struct ctl_account *a, const char *prefix, ctl_container_fn fn,
                           void *userdata, struct bth_error *error) _must_check_;
int ctl_account_blobs(struct ctl_account *a, const char *container, const char *prefix,
                      bool snapshots, ctl_blob_fn fn, void *userdata, struct bth_error *error)
        _must_check_;

struct ctl_blob_look {
        uint64_t length_bytes;
        bool page, archived;
        char etag[96];
        char last_modified[64]; /* "" = not said */
};
/* Looks at one blob. Returns 0; -ENOENT when it (or its container) is not there; the errors of
 * upl_client_call(). */
int ctl_account_look(struct ctl_account *a, const char *container, const char *blob,
                     const char *snapshot, struct ctl_blob_look *ret_look, struct bth_error *error)
        _must_check_;
