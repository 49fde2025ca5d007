// Plays and jumps a film in segments with a player written for browsers, in headless Chromium; prints what it saw as one JSON object.
// usage: node players.mjs NPM_FOLDER PLAYER MANIFEST_URL SECONDS SCREENSHOT
import { launch, scriptOf } from './chromium.mjs';

const [folder, player, manifest, seconds, screenshot] = process.argv.slice(2);
const browser = await launch(folder);
// The page's own policy lets no script of others in; here the test is the other.
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
const page = await context.newPage();
const seen = { console: [], failed: [], asked: 0 };
page.on('console', (line) => { if (line.type() === 'error') seen.console.push(line.text()); });
page.on('pageerror', (error) => seen.console.push(String(error)));
page.on('response', (answer) => {
  seen.asked += answer.url().endsWith('.m4s') ? 1 : 0;
  if (answer.status() >= 400) seen.failed.push(`${answer.status()} ${answer.url()}`);
});
try {
  await page.goto(new URL('/metrics', manifest).href, { timeout: 15000 });
  await page.setContent('<body style="margin:0;background:#222"><video style="width:100%" controls muted></video>');
  await page.addScriptTag({ path: scriptOf(folder, player) });
  Object.assign(seen, await page.evaluate(async ([player, manifest, target]) => {
    const video = document.querySelector('video');
    const errors = [];
    const state = () => ({ time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames, error: video.error?.message });
    const once = (name, ms) => new Promise((done, fail) => {
      video.addEventListener(name, done, { once: true });
      setTimeout(() => fail(new Error(`no ${name} in ${ms} ms: ${JSON.stringify(state())} ${errors.slice(0, 3)}`)), ms);
    });
    const rest = (ms) => new Promise((done) => setTimeout(done, ms));
    const asked = performance.now();
    const playing = once('playing', 20000);
    if (player === 'hls') {
      const hls = new Hls();
      // What is on its way is taken back at a jump: no error.
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.details !== 'aborted') errors.push(`${data.details} ${data.fatal}`); });
      hls.loadSource(manifest);
      hls.attachMedia(video);
    } else if (player === 'dash') {
      const dash = dashjs.MediaPlayer().create();
      dash.on('error', (data) => errors.push(JSON.stringify(data.error)));
      dash.initialize(video, manifest, true);
    } else {
      shaka.polyfill.installAll();
      const one = new shaka.Player();
      one.addEventListener('error', (data) => errors.push(`shaka ${data.detail.code}`));
      await one.attach(video);
      await one.load(manifest);
    }
    video.play().catch(() => {});
    await playing;
    const startup_ms = performance.now() - asked;
    let waiting = 0;
    const wait = () => { waiting += 1; };
    video.addEventListener('waiting', wait);
    await rest(2500);
    const before = state();
    video.removeEventListener('waiting', wait);
    const jump = performance.now();
    const seeked = once('seeked', 20000);
    video.currentTime = target;
    await seeked;
    const seek_ms = performance.now() - jump;
    await rest(2000);
    return { startup_ms, seek_ms, duration: video.duration, width: video.videoWidth, before, after: state(), waiting, errors };
  }, [player, manifest, Number(seconds)]));
} catch (error) {
  seen.trouble = String(error).slice(0, 600);
}
await page.screenshot({ path: screenshot });
await browser.close();
console.log(JSON.stringify(seen));
