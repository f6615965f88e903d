//! What the proxy calls: each export enters the plugin's state once and leaves all decisions to it.
//!
//! The proxy calls what is exported, and each call costs as much as a part of the plugin's own work. So nothing is exported
//! that a request can do without: its place is given back when it is logged, which comes last, and not in `proxy_on_delete`; and
//! what answers bring is read then, too, and not in `proxy_on_response_headers`.

use crate::abi::{Global, Host, allocate};
use crate::plugin::Plugin;

static PLUGIN: Global<Plugin> = Global::new(Plugin::new());

/// `FilterHeadersStatus`: go on.
const CONTINUE: u32 = 0;
/// `FilterHeadersStatus`: go no further; an answer was given.
const STOP: u32 = 1;

/// Runs `act` on the state.
fn enter<T>(act: impl FnOnce(&mut Plugin, &Host) -> T) -> T {
    // SAFETY: only the exports below call this, once each; the host calls one of them at a time.
    let (host, plugin) = unsafe { (Host::enter(), PLUGIN.get()) };
    act(plugin, &host)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(bytes: usize) -> *mut u8 {
    allocate(bytes)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    enter(|plugin, _| plugin.create(context, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, bytes: usize) -> u32 {
    enter(|plugin, host| u32::from(plugin.configure_machine(host, bytes)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, bytes: usize) -> u32 {
    enter(|plugin, host| u32::from(plugin.configure(host, root, bytes)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    enter(|plugin, host| plugin.tick(host, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end: u32) -> u32 {
    let answered = enter(|plugin, host| plugin.request(host, context));
    if answered { STOP } else { CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    enter(|plugin, host| plugin.finish(host, context));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    context: u32,
    token: u32,
    _headers: u32,
    body: usize,
    _trailers: u32,
) {
    enter(|plugin, host| plugin.answer(host, context, token, body));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    enter(|plugin, host| u32::from(plugin.done(host, context)))
}
