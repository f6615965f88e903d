// Types of `surgetank/offline`.

import type { OfflineStore } from './index.js';

export type { OfflineStore };

/**
 * A store in IndexedDB: bounded in bytes (512 KiB a tab if absent, 2 MiB at most, for each copy is made at once; 8 tabs) and age
 * (a day if absent). Needs a secure context.
 */
export function offlineStore(options?: { name?: string; maxBytes?: number; maxAgeMs?: number }): OfflineStore;
