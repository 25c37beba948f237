/* SPDX-License-Identifier: GPL-3.0-or-later */
/* credential - the secret of a storage account, read when a worker needs it and not kept; and the
 * news that it was renewed.
 *
 *     credential_file = /etc/berth/photos.key   a regular file, of root or the station's user, that
 *                                               nobody else may read or write
 *     credential_file = photos                  a systemd credential: LoadCredential=photos:…
 *
 * One line end behind the secret does not count. Whoever renews a file renames the new one over it,
 * so that there is always a whole one. Functions block for as long as reading a small file takes;
 * on the loop's thread. Source: systemd.exec(5), CREDENTIALS; inotify(7). */
#pragma once

#include <systemd/sd-event.h>

#include "base/secret.h"
#include "daemon/config.h"

/* Where the credential lies: malloc()ed. Returns 0; -EINVAL for a path that is not from the root;
 * -ENOENT for a systemd credential where systemd gave none; -ENOMEM. */
int dmn_credential_path(const struct dmn_account_config *account, char **ret_path,
                        struct bth_error *error) _must_check_;

/* Reads it. Of an identity there is nothing to read: NULL. Returns 0; as dmn_credential_path();
 * -EPERM for a file that is not regular, belongs to another user, or is open to others; -EINVAL for
 * what cannot be a secret of its kind (never with a part of it in the sentence); -EFBIG; -errno of
 * open(2) and read(2). The place is the file. */
int dmn_credential_read(const struct dmn_account_config *account, struct bth_secret **ret_secret,
                        struct bth_error *error) _must_check_;

/* Called when the credential of an account of this name is another file, or was written to: read it
 * anew. What was read may still be the same, or not be good. */
typedef void (*dmn_credential_fn)(void *userdata, const char *account);

struct dmn_credential_watch;

/* Watches the credentials of all accounts. `config` is not needed any longer; `changed` may free
 * the watch. Folders that are not there are not watched. Returns 0; -errno of inotify(7); -ENOMEM.
 */
int dmn_credential_watch(sd_event *loop, const struct dmn_config *config, dmn_credential_fn changed,
                         void *userdata, struct dmn_credential_watch **ret_watch) _must_check_;
/* NULL is fine; returns NULL. */
struct dmn_credential_watch *dmn_credential_watch_free(struct dmn_credential_watch *w);
DEFINE_CLEANUP(dmn_credential_watch_free, struct dmn_credential_watch *);
