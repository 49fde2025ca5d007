// Plays and jumps a page's film in headless Chromium, and prints what it saw as one JSON object.
// usage: node browser.mjs PLAYWRIGHT_FOLDER PAGE_URL SCREENSHOT
import { launch } from './chromium.mjs';

const [folder, url, screenshot] = process.argv.slice(2);
const browser = await launch(folder);
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const seen = { console: [], failed: [] };
page.on('console', (line) => { if (line.type() === 'error') seen.console.push(line.text()); });
page.on('pageerror', (error) => seen.console.push(String(error)));
page.on('requestfailed', (request) => seen.failed.push(`${request.url()} ${request.failure()?.errorText}`));
page.on('response', (answer) => { if (answer.status() >= 400) seen.failed.push(`${answer.status()} ${answer.url()}`); });
const began = Date.now();
try {
  await page.goto(url, { waitUntil: 'domcontentloaded', timeout: 15000 });
  await page.waitForSelector('video', { state: 'attached', timeout: 15000 });
  Object.assign(seen, await page.evaluate(async () => {
    const video = document.querySelector('video');
    const state = () => ({ time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames, error: video.error?.message });
    const once = (name, ms) => new Promise((done, fail) => {
      video.addEventListener(name, done, { once: true });
      setTimeout(() => fail(new Error(`no ${name} in ${ms} ms: ${JSON.stringify(state())} ready ${video.readyState} network ${video.networkState} src ${video.currentSrc}`)), ms);
    });
    const rest = (ms) => new Promise((done) => setTimeout(done, ms));
    video.muted = true;
    const asked = performance.now();
    if (video.paused || video.readyState < 3) {
      const playing = once('playing', 15000);
      video.play().catch(() => {});
      if (video.paused || video.readyState < 3) await playing;
    }
    const startup_ms = performance.now() - asked;
    let waiting = 0;
    video.addEventListener('waiting', () => { waiting += 1; });
    await rest(2000);
    const before = state();
    const canvas = document.createElement('canvas');
    canvas.width = 64; canvas.height = 36;
    const brush = canvas.getContext('2d');
    brush.drawImage(video, 0, 0, 64, 36);
    const pixels = brush.getImageData(0, 0, 64, 36).data;
    let bright = 0;
    for (let at = 0; at < pixels.length; at += 4) bright += pixels[at] + pixels[at + 1] + pixels[at + 2] > 60 ? 1 : 0;
    const stalled = waiting;
    const target = video.duration * 0.75;
    const jump = performance.now();
    const seeked = once('seeked', 15000);
    video.currentTime = target;
    await seeked;
    const seek_ms = performance.now() - jump;
    await rest(1500);
    return { startup_ms, seek_ms, duration: video.duration, width: video.videoWidth, before, after: state(), target, bright, waiting: stalled, text: document.body.innerText.slice(0, 2000) };
  }));
} catch (error) {
  seen.trouble = String(error).slice(0, 600);
}
seen.total_ms = Date.now() - began;
await page.screenshot({ path: screenshot });
await browser.close();
console.log(JSON.stringify(seen));
