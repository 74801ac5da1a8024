# npm without a network: a package, a dependency by path, scripts.
set -e
mkdir -p /tmp/npm/app /tmp/npm/dep
cd /tmp/npm/dep && echo '{"name": "dep", "version": "1.2.3", "main": "i.js"}' > package.json && echo 'module.exports = 42' > i.js
cd ../app
npm init -y > /dev/null
npm install --offline --no-audit --no-fund ../dep | sed 's/ in .*//'
npm pkg set scripts.hi="node -p 'require(\"dep\")'"
npm run -s hi
npm ls --all | sed 's/ .*\/app$/ app/'
npm pack --silent
tar tzf app-1.0.0.tgz
npm --version
node --version
