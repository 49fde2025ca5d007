// Plays a film of several qualities or texts with a player written for browsers, in headless Chromium, through steps of so many seconds;
// prints `step N` when each begins, and at last what it saw as one JSON object. A step may begin with a jump to a time of the film, and
// with another text: SECONDS@TIME#NUMBER.
// usage: node qualities.mjs NPM_FOLDER PLAYER MANIFEST_URL STEP,STEP,... SCREENSHOT
import { launch, scriptOf } from './chromium.mjs';

const [folder, player, manifest, steps, screenshot] = process.argv.slice(2);
const browser = await launch(folder);
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
const page = await context.newPage();
const seen = { console: [], failed: [], parts: [], errors: [] };
page.on('console', (line) => { if (line.type() === 'error') seen.console.push(line.text()); });
page.on('pageerror', (error) => seen.console.push(String(error)));
page.on('response', (answer) => { if (answer.status() >= 400) seen.failed.push(`${answer.status()} ${answer.url()}`); });
try {
  await page.goto(new URL('/metrics', manifest).href, { timeout: 15000 });
  await page.setContent('<body style="margin:0;background:#222"><video style="width:100%" controls muted></video>');
  await page.addScriptTag({ path: scriptOf(folder, player) });
  // Little is kept ahead, so that what is shown soon follows what is chosen.
  seen.startup_ms = await page.evaluate(async ([player, manifest]) => {
    const video = document.querySelector('video');
    window.errors = [];
    window.waits = 0;
    const asked = performance.now();
    const playing = new Promise((done, fail) => {
      video.addEventListener('playing', done, { once: true });
      setTimeout(() => fail(new Error(`it does not play: ${window.errors}`)), 30000);
    });
    if (player === 'hls') {
      const hls = new Hls({ maxBufferLength: 12, maxMaxBufferLength: 12 });
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.errors.push(data.details); });
      hls.loadSource(manifest);
      hls.attachMedia(video);
      window.choose = (number) => { hls.subtitleTrack = number; };
      window.chosen = () => hls.levels[hls.loadLevel]?.height;
    } else if (player === 'dash') {
      const dash = dashjs.MediaPlayer().create();
      dash.updateSettings({ streaming: { buffer: { bufferTimeDefault: 12, bufferTimeAtTopQuality: 12 }, text: { defaultEnabled: true } } });
      dash.on('error', (data) => window.errors.push(JSON.stringify(data.error)));
      dash.initialize(video, manifest, true);
      window.choose = (number) => dash.setTextTrack(number);
      window.chosen = () => dash.getCurrentRepresentationForType('video')?.height;
    } else {
      shaka.polyfill.installAll();
      const one = new shaka.Player();
      one.configure({ streaming: { bufferingGoal: 12 } });
      one.addEventListener('error', (data) => window.errors.push(`shaka ${data.detail.code}`));
      await one.attach(video);
      await one.load(manifest);
      window.choose = (number) => one.selectTextTrack(one.getTextTracks()[number]);
      window.chosen = () => one.getVariantTracks().find((it) => it.active)?.height;
    }
    video.play().catch(() => {});
    await playing;
    // Sooner hls.js takes it back.
    window.choose(0);
    video.addEventListener('waiting', () => { window.waits += 1; });
    return performance.now() - asked;
  }, [player, manifest]);
  for (const [number, step] of steps.split(',').entries()) {
    console.log(`step ${number}`);
    const [, length, , time, , text] = step.match(/^(\d+)(@([\d.]+))?(#(\d+))?$/);
    await page.evaluate(([time, text]) => {
      if (text) window.choose(Number(text));
      if (time) document.querySelector('video').currentTime = Number(time);
    }, [time, text]);
    const part = [];
    for (const end = Date.now() + Number(length) * 1000; Date.now() < end;) {
      part.push(await page.evaluate(() => {
        const video = document.querySelector('video');
        const cues = [...video.textTracks].filter((track) => track.mode === 'showing').flatMap((track) => [...(track.activeCues ?? [])].map((cue) => cue.text));
        return { time: video.currentTime, height: video.videoHeight, chosen: window.chosen(), waits: window.waits, cues };
      }));
      await new Promise((done) => setTimeout(done, 500));
    }
    seen.parts.push(part);
    if (number === 1) await page.screenshot({ path: screenshot });
  }
  seen.errors = await page.evaluate(() => window.errors);
  // What the player measures: when each segment was asked for, how long it took, its bytes.
  seen.loads = await page.evaluate(() => performance.getEntriesByType('resource')
    .filter((it) => it.name.endsWith('.m4s'))
    .map((it) => [it.name.split('/').slice(-2).join('/'), Math.round(it.startTime), Math.round(it.duration), it.encodedBodySize]));
} catch (error) {
  seen.trouble = String(error).slice(0, 600);
}
await browser.close();
console.log(JSON.stringify(seen));
