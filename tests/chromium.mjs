// Headless Chromium for trials: software only, silent, and without errands of its own.
import { createRequire } from 'node:module';

/** Starts it with the playwright-core that lies in `folder`. */
export function launch(folder) {
  const { chromium } = createRequire(folder + '/')('playwright-core');
  return chromium.launch({
    executablePath: '/usr/bin/chromium', headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--mute-audio', '--autoplay-policy=no-user-gesture-required'],
  });
}

/** The script of a player written for browsers, below `folder`. */
export function scriptOf(folder, player) {
  const scripts = {
    hls: 'hls.js/dist/hls.min.js',
    dash: 'dashjs/dist/modern/umd/dash.all.min.js',
    shaka: 'shaka-player/dist/shaka-player.compiled.js',
  };
  return `${folder}/node_modules/${scripts[player]}`;
}
