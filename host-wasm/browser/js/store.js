// What an outage holds back, kept for the next visit: a copy of the records that the engine holds, in IndexedDB.
//
//   engine --once a second, while an outage lasts--> this tab's row       a tab that ended: row without an owner
//   engine <--------- restored, row moved -------- rows without an owner <---'
//
// A tab owns its row by holding a Web Lock, which ends with the tab, however it ends. So a row whose lock can be had
// belongs to nobody, and moves to the tab that got the lock in one transaction: it is never in two places and never in
// none. A tab holds a lock only while it has a row, for a page with a lock is not kept by the back/forward cache.
//
// Nothing here may fail loudly: where storage is blocked, full or not there, the engine goes on in memory alone.

const ROWS = 'tabs';
/** Least time between two copies, in milliseconds. */
const PAUSE = 1000;
/** Bytes of one copy at most, for it is made in one task. */
const MAX_BYTES = 2 * 1024 * 1024;
/** Rows that there may be; those found beyond are dropped. */
const MAX_ROWS = 8;
/** The drop reason of what the bounds of the store drop. */
const CACHE_OVERFLOW = 1;

const promised = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

class Store {
  constructor({ name = 'surgetank', maxBytes = 512 * 1024, maxAgeMs = 24 * 3600 * 1000 }) {
    Object.assign(this, { name, maxBytes: Math.min(maxBytes, MAX_BYTES), maxAgeMs });
    this.id = Math.random().toString(36).slice(2) + Date.now().toString(36);
    this.stored = false;
    this.saving = undefined;
    this.last = -Infinity;
  }

  /** Starts to keep what `page` holds. Nobody waits for it: some browsers never answer when a database is opened. */
  begin(page) {
    this.page = page;
    this.ready = this.open();
  }

  async open() {
    try {
      if (!navigator.locks || !self.indexedDB) return;
      const opening = indexedDB.open(this.name, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(ROWS, { keyPath: 'id' });
      this.database = await promised(opening);
      // Another version of this code wants to change the layout: it goes first.
      this.database.onversionchange = () => this.stop();
    } catch {
      this.stop();
    }
  }

  /** Goes on in memory alone. What lies in the row is in memory, too, and would come twice: it goes, before the lock does. */
  async stop() {
    const { database } = this;
    this.database = undefined;
    try {
      if (database && this.stored) await promised(database.transaction(ROWS, 'readwrite').objectStore(ROWS).delete(this.id));
    } catch {
      // It comes twice then.
    }
    if (database) database.close();
    this.letGo();
  }

  /** Runs `work` on the rows in one transaction; undefined when that fails, which switches the store off. */
  async rows(work) {
    try {
      const transaction = this.database.transaction(ROWS, 'readwrite');
      const done = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      const result = await work(transaction.objectStore(ROWS));
      await done;
      return result;
    } catch {
      await this.stop();
    }
  }

  // ---- this tab's row -----------------------------------------------------------------------------------------------

  /** Becomes the owner of this tab's row. */
  own() {
    this.owned ||= new Promise((resolve) => {
      const held = navigator.locks.request(`${this.name} ${this.id}`, () => {
        resolve();
        return new Promise((release) => (this.release = release));
      });
      held.catch(() => this.stop());
    });
    return this.owned;
  }

  letGo() {
    if (this.release) this.release();
    this.release = this.owned = undefined;
  }

  /** When the next copy is due, for the page's timer. */
  due(troubled) {
    return this.database && !this.saving && (troubled || this.stored) && this.dirty ? this.last + PAUSE : Infinity;
  }

  /** Makes the row what the engine holds, or takes it away when that is nothing. */
  save() {
    if (!this.database) return;
    const { list, bytes } = this.page.held(this.maxBytes);
    this.dirty = false;
    this.last = performance.now();
    if (!list.length && !this.stored) return;
    const put = () => {
      const row = { id: this.id, at: Date.now(), bytes, list };
      this.stored = list.length > 0;
      return this.rows((rows) => promised(list.length ? rows.put(row) : rows.delete(this.id)));
    };
    // A page that goes away has time for a transaction that starts now, and for nothing before it.
    const saved = this.release ? put() : this.own().then(put);
    this.saving = saved.then(() => {
      this.saving = undefined;
      if (!this.stored) this.letGo();
      this.page.arm();
    });
  }

  // ---- rows without an owner ----------------------------------------------------------------------------------------

  /** Restores the records for one destination, known by its address, from every row whose tab has ended. */
  async adopt(to, number) {
    await this.ready;
    if (!this.database) return;
    const ids = await this.rows((rows) => promised(rows.getAllKeys()));
    for (const id of ids || []) {
      if (id === this.id || !this.database) continue;
      await this.own();
      await navigator.locks
        .request(`${this.name} ${id}`, { ifAvailable: true }, (lock) => lock && this.move(id, to, number))
        .catch(() => this.stop());
    }
    if (this.database && !this.stored) this.letGo();
    this.page.pump();
  }

  /** Moves the records for one destination from a row to this tab's. */
  async move(id, to, number) {
    const oldest = Date.now() - this.maxAgeMs;
    const moved = await this.rows(async (rows) => {
      const [row, own, ids] = await Promise.all([promised(rows.get(id)), promised(rows.get(this.id)), promised(rows.getAllKeys())]);
      if (!row) return undefined;
      const mine = row.list.filter((record) => record.to === to);
      const others = row.list.filter((record) => record.to !== to);
      const expired = row.at < oldest || ids.length > MAX_ROWS;
      if (expired || !others.length) rows.delete(id);
      else rows.put({ ...row, list: others });
      if (mine.length && !expired) {
        const list = [...(own ? own.list : []), ...mine];
        rows.put({ id: this.id, at: Date.now(), list });
      }
      return { mine, expired };
    });
    if (!moved) return;
    if (moved.expired) {
      for (const { bytes } of moved.mine) this.page.lostRecord(number, bytes, CACHE_OVERFLOW);
      return;
    }
    for (const { bytes } of moved.mine) this.page.restore(number, bytes);
    this.stored ||= moved.mine.length > 0;
    this.dirty = true;
  }
}

/** Keeps what an outage holds back for the next visit: `init({ .., offline: offlineStore() })`. */
export const offlineStore = (options = {}) => new Store(options);
