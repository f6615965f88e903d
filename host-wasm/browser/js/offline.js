// The store for outages, apart: pages without one do not load it. It goes with either way to load the module.

export { offlineStore } from './store.js';
