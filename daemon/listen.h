/* SPDX-License-Identifier: GPL-3.0-or-later */
/* listen - the door to the network: one TLS socket, as [api] of the configuration says.
 *
 *     accept ── TLS ── rate of the peer ── token ─> right, name ──┬─ /subscriptions, /providers:
 * rest └─ /v1: the same verbs as at the station's own socket
 *
 * Nothing is answered without a token, and a wrong one costs its sender as much as many requests.
 * On the loop's thread. Source: design, section 6; RFC 6750. */
#pragma once

#include "daemon/rest.h"
#include "daemon/station.h"

struct dmn_listen;

/* Opens what the station's configuration asks for, which may be nothing. The station outlives it.
 * Returns as dmn_listen_reload(). */
int dmn_listen_new(struct dmn_station *station, struct dmn_listen **ret_listen,
                   struct bth_error *error) _must_check_;
/* Takes [api] of `config` over, and reads tokens, certificate and key again: opens another door,
 * closes the one there is, or serves those who come from now on with another certificate. Who is
 * connected gets the answers that are owed, with the tokens as they are now. Either all of it is
 * done or nothing. Returns 0; -EINVAL for an address that is none; -errno of socket(2), bind(2),
 * and of reading certificate and key; the errors of dmn_tokens_load(); -EBADMSG for a certificate
 * and key that do not fit; -ENOMEM. */
int dmn_listen_reload(struct dmn_listen *l, const struct dmn_config *config,
                      struct bth_error *error) _must_check_;
struct dmn_listen *dmn_listen_free(struct dmn_listen *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(dmn_listen_free, struct dmn_listen *);

/* Splits "192.0.2.1:8443", "[::]:8443" into a socket address. Returns its length, or -EINVAL. */
int dmn_listen_parse(const char *text, struct sockaddr_storage *ret_address) _must_check_;
/* The port that is listened on; 0: none. Never an error. */
unsigned dmn_listen_port(const struct dmn_listen *l);
