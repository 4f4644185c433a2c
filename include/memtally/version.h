/* SPDX-License-Identifier: Apache-2.0
 *
 * The version of memtally.  The build checks that it is the project's. */
#ifndef MEMTALLY_VERSION_H
#define MEMTALLY_VERSION_H

#define MEMTALLY_VERSION "0.1.0"

#endif /* MEMTALLY_VERSION_H */
